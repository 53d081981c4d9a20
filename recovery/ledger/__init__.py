"""The SQL record of plans, approvals, actions, attempts and evidence; the only place that speaks SQL.

`ledger.Ledger` is what everybody uses; the other modules are its parts.
"""
