"""What a hospital hands over, a folder of its exports, into its gateway: `hce import` behind the command line.

In: paths, and a gateway that answers. Out: what became of every resource, as counts that add up, and a list of those that were refused.
Called by the command line. Never: keys or the network; the gateway checks everything again and alone decides what is written.
"""
