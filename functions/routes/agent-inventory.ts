import { InventoryReport } from "../../schemas/inventory.ts";
import { agentRoute } from "../http/agent-route.ts";
import { takeInventory } from "../operations/inventory.ts";

export const inventoryRoute = agentRoute({
  method: "post",
  path: "/v1/agent/inventory",
  input: InventoryReport,
  run: (ports, call, input) => takeInventory(ports, call, input),
});
