"""Web hardening: response headers, CSRF, trusted proxies. Knows Pyramid, not the CRM."""
