"""The API in FastAPI on MongoDB, as MongoDB's own tutorial for FastAPI writes it (pydantic models, `PyObjectId`).

Run with uvicorn; MONGODB_URL and MONGODB_DATABASE say where the messages are.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, status
from pydantic import BaseModel, BeforeValidator, Field
from pymongo import AsyncMongoClient
from pymongo.write_concern import WriteConcern

# An ObjectId in the database, text in JSON.
PyObjectId = Annotated[str, BeforeValidator(str)]


class NewMessage(BaseModel):
    text: Annotated[str, Field(min_length=1, max_length=4000)]
    author: Annotated[str, Field(min_length=1, max_length=80)] = "anonymous"


class Message(BaseModel):
    id: Annotated[PyObjectId, Field(alias="_id")]
    text: str
    author: str
    created_at: datetime


class Messages(BaseModel):
    messages: list[Message]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(os.environ["MONGODB_URL"], tz_aware=True)
    async with client:
        database = client.get_database(os.environ["MONGODB_DATABASE"])
        # As durable as the service that is measured beside this one.
        app.state.messages = database.get_collection("messages", write_concern=WriteConcern(w="majority", j=True))
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/messages", response_model=Messages, response_model_by_alias=False)
async def list_messages(request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 20) -> Any:
    messages = await request.app.state.messages.find().sort("_id", -1).to_list(limit)
    return {"messages": messages}


@app.post("/messages", response_model=Message, response_model_by_alias=False, status_code=status.HTTP_201_CREATED)
async def create_message(request: Request, new: NewMessage) -> Any:
    message = new.model_dump() | {"created_at": datetime.now(UTC)}
    result = await request.app.state.messages.insert_one(message)
    return message | {"_id": result.inserted_id}
