"""What a workflow will cost and how long it will take, before anything is sent."""
