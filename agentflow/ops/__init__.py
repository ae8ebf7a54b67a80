"""Operations: what running workflows say of themselves, in logs and metrics."""
