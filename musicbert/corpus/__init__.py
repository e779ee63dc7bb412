"""Many files to examples: archives, ledger, data sets."""
