"""The one repository of records: joins and loads facts, between services and the store's port."""
