"""The API in FastAPI on MongoDB with the cache that its author would add first: encoded lists, until the next post.

It is `fastapi_mongodb` otherwise. Only one process can do it so: it does not hear what others store.
"""

from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response, status

from loadtests.peers import fastapi_mongodb as plain

app = FastAPI(lifespan=plain.lifespan)
lists: dict[int, bytes] = {}  # by limit


@app.get("/messages")
async def list_messages(request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 20) -> Response:
    if limit not in lists:
        found = plain.Messages.model_validate(await plain.list_messages(request, limit))
        lists[limit] = found.model_dump_json().encode()
    return Response(lists[limit], media_type="application/json")


@app.post("/messages", response_model=plain.Message, response_model_by_alias=False, status_code=status.HTTP_201_CREATED)
async def create_message(request: Request, new: plain.NewMessage) -> Any:
    message = await plain.create_message(request, new)
    lists.clear()
    return message
