"""The pages and addresses of imports and exports."""
