"""The operation runbook's deployment check: one workflow of one step. Exits 1 where it fails."""

import asyncio
import sys

from agentflow import AgentConfig, Workflow, WorkflowConfig
from agentflow.core.agent import SimpleAgent
from agentflow.models.bedrock_client import BedrockClient, ModelType


async def verify_deployment() -> bool:
    try:
        bedrock = BedrockClient(region_name="us-east-1")

        workflow = Workflow(WorkflowConfig(name="deployment_test"))

        agent = SimpleAgent(
            config=AgentConfig(name="test_agent", model_type=ModelType.HAIKU_4_5),
            bedrock_client=bedrock,
            prompt_template="Say 'Deployment successful!'",
        )

        workflow.add_step("test", agent, {})
        result = await workflow.execute()
    except Exception as error:
        print(f"✗ Deployment verification failed: {error}")
        return False
    print(result)
    print("✓ Deployment verification successful")
    return True


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(verify_deployment()) else 1)
