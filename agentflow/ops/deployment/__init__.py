"""What is deployed on AWS for a set of workflows: a template, and its parts for the AWS CLI."""
