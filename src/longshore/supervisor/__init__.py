"""The supervisor: a process of its own, the only one with root's powers. It makes and removes instances, and nothing else.

    client.start  ->  __main__  ->  door (the unix socket)  ->  keeper (instances)  ->  fabric (the network)
                                                                  |-> birth -> init (the first process of an instance)

Owns: `instances/` and `fabric.json` in the state folder, a network namespace, the control groups of its instances.
Knows: host, world, settings, telemetry; nothing of the server, which asks it by `host/supervised.py`.
Outlives the server and the agents. An instance outlives it: `init` needs nobody, and the next supervisor finds it.
"""
