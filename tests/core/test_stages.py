"""What one account's items may be worked on together: the order of a plan, and what no two may use at a time."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from recovery.model import Harm, Kind, PlanItem
from recovery.plan import ORDER_OF_KIND
from recovery.stages import JOBS, stages
from tests.core.makers import a_plan, a_slot

TEMPLATE = replace(a_plan().items[0], actions=())


def an_item(kind: Kind, ref: str, used: int | None) -> PlanItem:
    before = {} if used is None else {"list": used}
    return replace(TEMPLATE, slot=a_slot(kind, ref), order=ORDER_OF_KIND[kind], before=before)


ITEMS = st.lists(
    st.builds(an_item, st.sampled_from(Kind), st.sampled_from("abcdef"), st.sampled_from((None, 401, 402))), max_size=12
).map(lambda items: sorted(items, key=lambda i: i.order))


@given(ITEMS)
def test_every_item_stands_in_one_chain_once_and_stages_keep_the_plans_order(items: list[PlanItem]) -> None:
    found = [[item for items in stage for item in items] for stage in stages(items)]
    assert sorted(map(id, chain(*found))) == sorted(map(id, items))
    assert [stage[0].order for stage in found] == sorted({i.order for i in items})
    assert all(len({i.order for i in stage}) == 1 for stage in found)


@given(ITEMS)
def test_no_two_chains_of_a_stage_share_a_list_or_a_definition(items: list[PlanItem]) -> None:
    for stage in stages(items):
        for used in (
            [{i.before.get("list") for i in items} - {None} for items in stage],
            [{i.slot.object_ref for i in items if not i.before.get("list")} for items in stage],
        ):
            assert sum(map(len, used)) == len(set().union(*used))


@given(ITEMS)
def test_what_mends_tags_or_reaches_people_is_done_one_after_the_other(items: list[PlanItem]) -> None:
    for stage in stages(items):
        assert len(stage) == 1 or all(item.slot.kind in JOBS for items in stage for item in items)


def test_jobs_without_a_common_list_are_chains_of_their_own() -> None:
    items = [an_item(Kind.IMPORT, ref, used) for ref, used in (("a", 401), ("b", 402), ("c", None), ("d", 401))]
    ((*chains,),) = stages(items)
    assert [[i.slot.object_ref for i in each] for each in chains] == [["a", "d"], ["b"], ["c"]]


def test_whatever_reaches_people_is_alone_whatever_kind_it_is_called() -> None:
    reaching = replace(an_item(Kind.IMPORT, "a", None), actions=a_plan().items[0].actions)
    other = replace(reaching, slot=a_slot(Kind.IMPORT, "b"))
    assert reaching.harm is Harm.H3
    assert stages([reaching, other]) == [[[reaching, other]]]
    triggers = [an_item(Kind.TRIGGER, ref, None) for ref in "ab"]
    assert stages(triggers) == [[triggers]]
