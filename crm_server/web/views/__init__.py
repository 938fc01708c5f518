"""The views of the pages. They read through `crm_server.web.reading` and act through services."""
