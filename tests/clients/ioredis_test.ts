/** ioredis and what descends from it give the same results through Ringmaster as against one redis-server: beside the others, for their time. */
import { IOREDIS } from "./ioredis.ts";
import { testLibraries } from "./library_tests.ts";

testLibraries(IOREDIS);
