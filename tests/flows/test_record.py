"""Recording a run of the terminal never costs the run: the server may be absent, refuse, or go away in the middle."""
