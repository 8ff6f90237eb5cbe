"""Learning-rate schedules by name.

A schedule is a function with the name users type. It takes the span that it covers and its own
options, lengths in epochs, and returns a Keras schedule over the steps of that span::

    def my_schedule(span, *, final=0.0) -> keras.optimizers.schedules.LearningRateSchedule

Warm-up comes before the span and is not its business (`warmup.py`).
"""
