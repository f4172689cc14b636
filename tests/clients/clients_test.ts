/** Every client library but ioredis gives the same results through Ringmaster as against one redis-server: a step a scenario. */
import { IOREDIS } from "./ioredis.ts";
import { LIBRARIES } from "./libraries.ts";
import { testLibraries } from "./library_tests.ts";

testLibraries(LIBRARIES.filter((each) => !IOREDIS.includes(each)));
