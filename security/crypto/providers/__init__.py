"""Providers of the key ring: a passphrase file for trials, a PKCS#11 HSM, and a TPM 2.0."""
