"""Made-up data to try the CRM with: deterministic, in three languages, never confusable with real persons.

Addresses are in the domains that RFC 2606 reserves, phone numbers in the ranges that the authorities keep for films
and examples, companies are called examples, samples and musters. `kontor demo` is the caller.
"""
