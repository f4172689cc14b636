/** Our version, and that of the Redis whose answers we imitate: clients switch features on the latter. */
export const VERSION = "0.1.0";
export const REDIS_VERSION = "7.4.0";
