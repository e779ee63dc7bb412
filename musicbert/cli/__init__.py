"""The command `musicbert`: arguments and printing only."""
