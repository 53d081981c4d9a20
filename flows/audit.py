"""Flow: audit an outage window; reads only."""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from recovery.forms import WindowForm
from recovery.served import audit_account, audit_report, merge_audits, window_of


@task(name="audit one account", retries=0, task_run_name="audit {account}")
async def read_account(outage: WindowForm, account: str) -> Any:
    """Every slot of one account, with its witnesses."""
    return await audit_account(outage, account)


@flow(name="audit", description="What was due in an outage, and what happened. Reads only.", retries=0)
async def audit(outage: WindowForm) -> dict[str, Any]:
    """Audits every account of the window; the table shows what was not done.

    Args:
        outage: The outage window and the accounts.
    """
    window, names = window_of(outage)
    parts = [await read_account(outage, name) for name in names]
    view, rows, text = audit_report(merge_audits(window, parts))
    await acreate_table_artifact(rows, key="audit-findings", description=f"Not done in {view['incident']}")
    await acreate_markdown_artifact(text, key="audit-report", description=f"Audit of {view['incident']}")
    return {"incident": view["incident"], "counts": view["counts"], "exit_code": view["exit_code"]}
