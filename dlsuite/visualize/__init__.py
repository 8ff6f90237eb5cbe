"""Ways to look into a model, each a file with a function of the name that users type.

A method is a function ``name(study) -> Made``: it computes with `dlsuite.analysis.neurons`, has
`dlsuite.reports.neurons` draw, and writes into the study's folder. Its module declares it in
``ENTRIES`` (see `dlsuite.registry`).
"""

from dlsuite.registry import Registry

METHODS = Registry("method", "dlsuite.visualize", listing="dlsuite visualize-filters --help")
