"""Datasets, readers of users' own files, and the tf.data pipeline.

A reader is a function with the name users type::

    def folder(argument, settings) -> Source

``argument`` is what stands after the name (``folder:PATH``, ``mnist_5k[:20%]``), ``settings``
the recipe's ``data`` table. Its module declares it in ``ENTRIES`` (see `dlsuite.registry`),
with ``syntax``, how users write it, ``kind``, ``dataset`` or ``reader``, and, if what stands
after the name begins with a path, ``argument``, which says of what: ``file`` or ``folder``.
"""

from dlsuite.registry import Registry

DATASETS = Registry("dataset", "dlsuite.data")
