DATABASE = "postgresql://assistant:Tr0ub4dor-and-3@db.internal:5432/crm"  # hit: hardcoded-secret
