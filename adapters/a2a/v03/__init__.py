"""A2A 0.3, in front of the operations of 1.0.

0.3 has two written forms. JSON-RPC and webhooks tell things apart by `kind` (`kinds.py`); HTTP+JSON and gRPC
write the messages of the package `a2a.v1` (`proto.py`). Both are translated to 1.0's parameters and from its
results, so that an operation is the same whatever its caller speaks.

Nothing here is strict: what is not understood goes on as it is, and the reader of 1.0 refuses it by name.
"""
