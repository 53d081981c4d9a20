"""Cases of a playbook: checks, evidence cards, reasons, resolutions, escalation; and the witnesses of link tracking."""
