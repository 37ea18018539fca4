#!/usr/bin/env python3
"""Reads Hairline's verdicts and moves a gate. Needs pyzmq (Debian: apt install python3-zmq).

    subscribe.py tcp://STATION:5556 LANE [COUNT]     stops after COUNT verdicts, if given
"""
import json
import sys
import time

import zmq

endpoint, lane = sys.argv[1:3]
count = int(sys.argv[3]) if len(sys.argv) > 3 else None
feed = zmq.Context().socket(zmq.SUB)
feed.subscribe(f"verdict.{lane}")
feed.connect(endpoint)

last = None  # (run, number) of the verdict before
while count is None or count > 0:
    topic, header, _ = feed.recv_multipart()
    if topic.decode() != f"verdict.{lane}":  # a subscription is a prefix: `a` brings `ab` as well
        continue
    cell = json.loads(header)
    if last and last[0] == cell["run"] and cell["number"] > last[1] + 1:
        print(f"missed {last[1] + 1} to {cell['number'] - 1}: ask for a replay, the gate stayed shut", file=sys.stderr)
    last = (cell["run"], cell["number"])

    # The gate opens on an explicit `open` that is fresh and in time. Everything else, silence too, ejects.
    in_time = cell["gate_by_unix_ns"] is None or time.time_ns() <= cell["gate_by_unix_ns"]
    gate = "OPEN" if cell["gate"] == "open" and in_time and not cell["resent"] else "EJECT"
    why = cell["hold"] or cell["rule"] or ""
    print(f"{gate:5} {cell['lane']}/{cell['number']} {cell['carrier_id'] or '-'} {cell['verdict']} {why}", flush=True)
    if count is not None:
        count -= 1
