"""Asks the S3 server on a port whether it knows its user, and nobody else: ask.py PORT prints 42."""

import sys

import botocore.session
from botocore.config import Config

with open("password", encoding="ascii") as file:
    secret = file.read().strip()
client = botocore.session.get_session().create_client(
    "s3",
    endpoint_url=f"http://127.0.0.1:{sys.argv[1]}",
    region_name="us-east-1",
    aws_access_key_id="ouzel",
    aws_secret_access_key=secret,
    config=Config(connect_timeout=3, read_timeout=3, retries={"total_max_attempts": 1}),
)
client.list_buckets()
print(42)
