"""Drawing items: each cluster its share, at every size, and more items hold all of fewer."""

from collections import Counter
from fractions import Fraction
from math import ceil, floor

from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.stratified import draw_order
from tasks.benchmarks.item import Item, drawn


def made(sizes: list[int]) -> list[Item]:
    """Items of clusters of the given sizes, those of a cluster side by side, as files hold them."""
    return [
        Item(item_id=f"{cluster}/{number}", cluster=str(cluster), question="q")
        for cluster, size in enumerate(sizes)
        for number in range(size)
    ]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.data())
def test_every_size_gives_each_cluster_its_share_and_only_adds_items(sizes: list[int], data: st.DataObject) -> None:
    items = made(sizes)
    order = draw_order([item.item_id for item in items], [item.cluster for item in items])
    assert sorted(order) == list(range(len(items)))
    counts = Counter[str]()
    for most, place in enumerate(order, 1):
        counts[items[place].cluster] += 1
        for cluster, size in enumerate(sizes):
            share = Fraction(most * size, len(items))
            assert floor(share) <= counts[str(cluster)] <= ceil(share)
    most = data.draw(st.integers(1, len(items)))
    assert drawn(items, most) == [items[place] for place in sorted(order[:most])], "so that more hold all of fewer"


def test_one_large_cluster_does_not_crowd_out_many_small_ones() -> None:
    items = made([500] + [1] * 500)
    assert Counter(item.cluster == "0" for item in drawn(items, 100)) == {True: 50, False: 50}


def test_the_order_of_a_file_does_not_decide_which_items_are_drawn() -> None:
    items = made([30, 5, 65])
    chosen = drawn(items, 20)
    assert {item.item_id for item in drawn(items[::-1], 20)} == {item.item_id for item in chosen}
    assert chosen == [item for item in items if item in chosen], "their order stays"
    assert [item.item_id for item in chosen if item.cluster == "2"] != [f"2/{number}" for number in range(13)]
    assert drawn(items, None) == drawn(items, 200) == items
