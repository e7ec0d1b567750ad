/**
 * Where the contract is. On the local network (`lumio-localnet` after `lumio deploy`, `./dev up`, Compose) its id never
 * changes. Every other deployment has its own, which its operator publishes: `lumio deploy` prints it.
 */
export const networks = {
  local: {
    rpcUrl: "http://localhost:8000",
    networkPassphrase: "Standalone Network ; February 2017",
    contractId: "CC6MHJKLNLPNXGF5HHRVK5MHMYCPDJRHQOWKNLSX4LRUCOSXUVS4KE57",
    /** The SDK refuses plain HTTP unless it is told; only the local network is reached so. */
    allowHttp: true,
  },
} as const;
