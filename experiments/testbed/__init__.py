"""A real network on one machine: a system built of Linux network namespaces, with real MPI ranks in it.

Every device of a system file is a namespace of its own, every switch a bridge, every direction of a cable a
token-bucket queue at the link's rate. All bridges stand in one further namespace, the fabric: nothing that is made here
is seen outside the namespaces, and taking these away takes everything away.
"""
