import { InventoryAnswer, InventoryReport } from "../../schemas/inventory.ts";
import { agentRoute } from "../http/agent-route.ts";
import { takeInventory } from "../operations/inventory.ts";

export const inventoryRoute = agentRoute({
  method: "post",
  path: "/v1/agent/inventory",
  input: InventoryReport,
  summary: "What a host has, told while its cluster recovers.",
  answer: InventoryAnswer,
  run: (ports, call, input) => takeInventory(ports, call, input),
});
