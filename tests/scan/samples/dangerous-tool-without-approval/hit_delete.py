import os

from mcp.server.fastmcp import FastMCP

mcp = FastMCP("files")


@mcp.tool()
def remove(number: int) -> str:  # hit: dangerous-tool-without-approval
    """Remove a note by number."""
    os.remove(f"notes/{number}.txt")  # hit: model-output-to-path
    return "gone"
