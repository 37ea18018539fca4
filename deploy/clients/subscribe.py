#!/usr/bin/env python3
"""Reads Hairline's verdicts and moves a gate. Needs pyzmq (Debian: apt install python3-zmq).

    subscribe.py tcp://STATION:5556 LANE [COUNT]     stops after COUNT verdicts, if given
"""
import json
import sys
import time

import zmq

SILENCE_MS = 15_000  # 3 × publish.status_every_s

endpoint, lane = sys.argv[1:3]
count = int(sys.argv[3]) if len(sys.argv) > 3 else None
feed = zmq.Context().socket(zmq.SUB)
# Without heartbeats a cut cable looks like a silent station, for ever. In ms.
feed.heartbeat_ivl, feed.heartbeat_timeout, feed.connect_timeout = 2000, 6000, 6000
feed.subscribe(f"verdict.{lane}")
feed.subscribe(f"status.{lane}")
feed.connect(endpoint)


def note_missed(last, run, given):
    """Tells which verdicts up to number `given` of `run` are missing after the last one, a pair (run, number)."""
    if last[0] != run:
        print(f"a new run: ask for replays of run {last[0]} from {last[1] + 1} and of {run} from 1, the gate stayed shut", file=sys.stderr)
    elif given > last[1]:
        print(f"missed {last[1] + 1} to {given}: ask for a replay, the gate stayed shut", file=sys.stderr)


last = None  # (run, number) of the verdict before
while count is None or count > 0:
    if not feed.poll(SILENCE_MS):
        print(f"nothing for {SILENCE_MS / 1000:.0f} s: no connection, the gate stays shut", file=sys.stderr)
        continue
    topic, header, _ = feed.recv_multipart()
    message = json.loads(header)
    # A status tells of verdicts that were lost last, also while the belt stands.
    if topic.decode() == f"status.{lane}" and message["schema"] == "hairline.status/1" and last:
        # One that was on its way may be behind the verdict that was heard.
        if message["run"] != last[0] or message["cells"] > last[1]:
            note_missed(last, message["run"], message["cells"])
            last = (message["run"], message["cells"])
    if topic.decode() != f"verdict.{lane}":  # a status, or another lane: a subscription is a prefix, `a` brings `ab` as well
        continue
    cell = message
    run, number = cell["run"], cell["number"]
    if last:
        note_missed(last, run, number - 1)
    last = (run, number)

    # The gate opens on an explicit `open` that is fresh and in time. Everything else, silence too, ejects.
    in_time = cell["gate_by_unix_ns"] is None or time.time_ns() <= cell["gate_by_unix_ns"]
    gate = "OPEN" if cell["gate"] == "open" and in_time and not cell["resent"] else "EJECT"
    why = cell["hold"] or cell["rule"] or ""
    print(f"{gate:5} {cell['lane']}/{number} {cell['carrier_id'] or '-'} {cell['verdict']} {why}", flush=True)
    if count is not None:
        count -= 1
