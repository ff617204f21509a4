"""The table of faults: what happens, and what clients and publishers may be told of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from . import engine_faults, failovers, link_faults, nats_faults, process_faults
from .clock import can_set_clocks
from .scene import Fault

_EPOCH: Final = frozenset({"epoch"})
_DOWN: Final = frozenset({"down"})
_UNKNOWN: Final = frozenset({"unknown"})
_REFUSED: Final = _DOWN | _UNKNOWN
_NOT_WRITTEN: Final = ("--appendonly", "no")
_SOMETIMES: Final = ("--appendonly", "yes", "--appendfsync", "everysec")
_ALWAYS: Final = ("--appendonly", "yes", "--appendfsync", "always")
_DURABLE: Final[Mapping[str, object]] = MappingProxyType({"durable": True})
_CONFIRMED: Final[Mapping[str, object]] = MappingProxyType({"replicas": 1})

FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "nothing": Fault(strike=link_faults.nothing),
        "links-killed": Fault(strike=link_faults.links_killed),
        "cut-after-sending": Fault(strike=link_faults.cut_after_sending),
        "answers-lost": Fault(strike=link_faults.answers_lost),
        "scripts-flushed": Fault(strike=link_faults.scripts_flushed),
        "deaf": Fault(strike=link_faults.deaf),
        "deaf-for-a-moment": Fault(strike=link_faults.deaf_for_a_moment),
        "deaf-live-trimmed": Fault(strike=link_faults.deaf_and_trimmed),
        "deaf-all-trimmed": Fault(
            strike=link_faults.deaf_and_all_trimmed,
            gaps=frozenset({"backplane", "history"}),
            shows=frozenset({"backplane"}),
        ),
        "partition-swallows": Fault(strike=link_faults.partition_that_swallows, fates=_REFUSED),
        "partition-resets": Fault(strike=link_faults.partition_that_resets, fates=_REFUSED),
        "partition-of-all": Fault(strike=link_faults.partition_of_all, fates=_REFUSED),
        "held": Fault(strike=link_faults.held_again_and_again, fates=_REFUSED),
        "engine-hangs": Fault(strike=engine_faults.hangs),
        "flushed": Fault(strike=engine_faults.flushed, turns=True),
        "evicted": Fault(strike=engine_faults.evicted, gaps=frozenset({"epoch", "backplane", "history"}), shows=_EPOCH),
        "out-of-memory": Fault(strike=engine_faults.out_of_memory, fates=_DOWN),
        "killed": Fault(strike=engine_faults.killed, engine=_NOT_WRITTEN, turns=True),
        "killed-everysec": Fault(strike=engine_faults.killed, engine=_SOMETIMES, turns=True),
        "killed-durable": Fault(strike=engine_faults.killed, engine=_ALWAYS, options=_DURABLE),
        "killed-file-cut": Fault(
            strike=engine_faults.killed_and_file_cut, engine=_ALWAYS, options=_DURABLE, turns=True
        ),
        "failover": Fault(strike=failovers.promoted, replicas=1, turns=True),
        "failover-late": Fault(strike=failovers.promoted_late, replicas=1, turns=True),
        "failover-all-new": Fault(strike=failovers.promoted_and_all_new, replicas=1, fates=_REFUSED, turns=True),
        "split": Fault(
            strike=failovers.split_in_two, replicas=1, returns=True, options=_CONFIRMED, fates=_UNKNOWN, turns=True
        ),
        "sentinels": Fault(
            strike=failovers.decided_by_sentinels,
            replicas=2,
            sentinels=3,
            options=_CONFIRMED,
            fates=_REFUSED,
            turns=True,
        ),
        "sentinels-planned": Fault(
            strike=failovers.planned_by_an_operator,
            replicas=2,
            sentinels=3,
            options=_CONFIRMED,
            fates=_REFUSED,
            turns=True,
        ),
        "sentinels-hanging": Fault(
            strike=failovers.decided_while_it_hangs,
            replicas=2,
            sentinels=3,
            options=_CONFIRMED,
            fates=_REFUSED,
            turns=True,
        ),
        "worker-killed": Fault(strike=process_faults.worker_killed, processes=True, fates=_UNKNOWN),
        "worker-hangs": Fault(strike=process_faults.worker_hangs, processes=True, fates=_REFUSED),
        "worker-hangs-cut-off": Fault(
            strike=process_faults.cut_off_while_it_hangs, processes=True, fates=_REFUSED, padding=4_000
        ),
        "launched-worker-killed": Fault(strike=process_faults.launched_worker_killed, launched=True, fates=_UNKNOWN),
        "launched-worker-hangs": Fault(strike=process_faults.launched_worker_hangs, launched=True, fates=_REFUSED),
        "launched-replaced": Fault(strike=process_faults.launched_replaced, launched=True, fates=_UNKNOWN),
        "launched-engine-killed": Fault(
            strike=process_faults.launched_engine_killed, launched=True, fates=_REFUSED, turns=True
        ),
        "one-shard-down": Fault(
            strike=engine_faults.one_shard_down, shards=2, engine=_NOT_WRITTEN, fates=_REFUSED, turns=True
        ),
        "disk-full": Fault(strike=engine_faults.disk_full, engine=_SOMETIMES, fates=_DOWN),
        "disk-full-durable": Fault(
            strike=engine_faults.disk_full_and_killed, engine=_ALWAYS, options=_DURABLE, fates=_REFUSED
        ),
        "password-changed": Fault(strike=engine_faults.password_changed),
        "nats": Fault(strike=link_faults.nothing, nats=1),
        "nats-cut-after-sending": Fault(strike=link_faults.cut_after_sending, nats=1),
        "nats-answers-lost": Fault(strike=link_faults.answers_lost, nats=1),
        "nats-deaf": Fault(strike=link_faults.deaf, nats=1),
        "nats-partition-swallows": Fault(strike=link_faults.partition_that_swallows, nats=1, fates=_REFUSED),
        "nats-partition-resets": Fault(strike=link_faults.partition_that_resets, nats=1, fates=_REFUSED),
        "nats-held": Fault(strike=link_faults.held_again_and_again, nats=1, fates=_REFUSED),
        "nats-hangs": Fault(strike=nats_faults.hangs, nats=1),
        "nats-killed": Fault(strike=nats_faults.killed, nats=1, turns=True),
        "nats-killed-durable": Fault(strike=nats_faults.killed, nats=1, options=_DURABLE),
        "nats-store-older": Fault(
            strike=nats_faults.killed_and_store_older, nats=1, options=_DURABLE, fates=_UNKNOWN, turns=True
        ),
        "nats-stream-deleted": Fault(strike=nats_faults.stream_deleted, nats=1, turns=True),
        "nats-stream-purged": Fault(
            strike=nats_faults.stream_purged, nats=1, gaps=frozenset({"history", "backplane"}), turns=True
        ),
        "nats-leader-gone": Fault(strike=nats_faults.leader_gone, nats=3, options=_CONFIRMED, fates=_REFUSED),
        "nats-leader-steps-down": Fault(
            strike=nats_faults.leader_steps_down, nats=3, options=_CONFIRMED, fates=_REFUSED
        ),
        "nats-all-killed": Fault(
            strike=nats_faults.killed, nats=3, options=_CONFIRMED, fates=_REFUSED, turns=True, tail_seconds=6.0
        ),
        **(
            {"clock-set-back": Fault(strike=engine_faults.clock_set_back, clock=True, turns=True)}
            if can_set_clocks()
            else {}
        ),
    }
)
