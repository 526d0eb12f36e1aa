"""An ordinary FastAPI server that has never heard of lastbeat."""

from contextlib import asynccontextmanager

from fastapi import FastAPI


@asynccontextmanager
async def lifespan(app: FastAPI):
    print("shop is open", flush=True)
    yield
    print("shop is closed", flush=True)


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def greet():
    return {"say": "hello"}
