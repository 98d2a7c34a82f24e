"""S3 on a port of loopback, by moto, for one user: serve.py PORT, with his secret in the file
`password`. There is a bucket already, `ouzel`."""

import io
import sys
import threading

from moto.core import DEFAULT_ACCOUNT_ID
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import run_simple

ANYTHING = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'


def add_user(name, secret):
    iam = iam_backends[DEFAULT_ACCOUNT_ID]["aws"]
    iam.create_user("us-east-1", name)
    iam.put_user_policy(name, "anything", ANYTHING)
    key = iam.create_access_key(name)
    key.access_key_id, key.secret_access_key = name, secret


class OneByOne:
    """Looking whether there is an object and writing it are two steps in moto, and must be one for If-None-Match."""

    def __init__(self, app):
        self.app, self.lock = app, threading.Lock()

    def __call__(self, environ, start_response):
        # Outside of the lock: a client that sends slowly, or never, holds up nobody else.
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        if len(body) < length:
            raise ConnectionError("the client went away before its body was here")
        environ["wsgi.input"] = io.BytesIO(body)
        with self.lock:
            return self.app(environ, start_response)


with open("password", encoding="ascii") as file:
    add_user("ouzel", file.read().strip())
s3_backends[DEFAULT_ACCOUNT_ID]["aws"].create_bucket("ouzel", "us-east-1")
app = OneByOne(DomainDispatcherApplication(create_backend_app))
run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True, request_handler=MotoRequestHandler)
