"""Lists: does a reranker that drops candidates between its layers keep the original's best ten?"""
