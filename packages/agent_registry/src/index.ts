export { Client } from "./client.js";
export * from "./errors.js";
export * from "./networks.js";
export * from "./types.js";
