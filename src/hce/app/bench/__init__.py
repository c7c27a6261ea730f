"""`hce bench`: measures a network of real processes under real signed work. It judges nothing: figures go out, no goal is in here.

In: a number of nodes, seconds, a rate, a seed. Out: one flat object of figures (`docs/bench.md` explains each key).
Called by `app/cli/bench.py`. The network is its own, in a temporary folder on free ports, gone afterwards.

    plan       what will be sent, from the seed alone (pure)
    signing    the plan's bytes, made ahead in processes of their own
    stage      the network, and organisations whose keys are in this process
    load       sends, at a rate or as fast as it goes; refusals are counted, never repeated
    wire       HTTP that costs the load little
    watch      follows the final blocks, the only thing that counts as done
    figures    percentiles and readings of processes
    ledger, records, opening, soak, worst   the measurements

Never: a key of anybody but the measurement's own organisations and the demo network, a transaction counted that no block holds.
"""
