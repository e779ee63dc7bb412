"""Files and folders: archives, folders written whole, the ledger of outcomes, ordered parallel work."""
