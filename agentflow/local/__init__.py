"""The offline Bedrock endpoint: Bedrock's wire protocol on 127.0.0.1, in front of a small or a scripted model."""
