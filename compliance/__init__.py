"""The language in which the model is written (the data map) and the engines that read it.

Nothing here knows the CRM: each engine gets the frozen data map as an argument.
"""
