"""What came back: the ledger, the run, what to ask next, who answers."""
