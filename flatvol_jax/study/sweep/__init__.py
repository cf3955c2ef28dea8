"""The attack-set sweep (section 5.2): its run, pictures and report."""
