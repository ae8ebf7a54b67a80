"""Everything between a prompt and Amazon Bedrock: the client, its wire format, the models and their prices."""
