"""Clusters of worker processes on the loopback interface, as TF_CONFIG describes them."""

import json
import socket


def free_addresses(count=2):
    """Addresses that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for free in sockets:
        free.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{free.getsockname()[1]}" for free in sockets]
    for free in sockets:
        free.close()
    return addresses


def tf_config(addresses, number):
    """What a worker process finds in TF_CONFIG."""
    task = {"type": "worker", "index": number}
    return json.dumps({"cluster": {"worker": addresses}, "task": task})
