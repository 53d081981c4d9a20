"""The incident desk: tickets, customers, announcements, clocks, root-cause drafts, escalation."""
