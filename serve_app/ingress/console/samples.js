// What do the sample buttons put into the boxes, with which prompt?

const PERSON = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name", "age"],
};

const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Weather of a city",
    parameters: {
      type: "object",
      properties: {
        city: { type: "string" },
        unit: { type: "string", enum: ["celsius", "fahrenheit"] },
      },
      required: ["city"],
    },
  },
};

export const SAMPLES = {
  tools: { value: [WEATHER], prompt: "What is the weather in Paris in celsius?" },
  schema: {
    value: PERSON,
    prompt: `The name is Alice. The age is 34. Answer in JSON with this schema: ${JSON.stringify(PERSON)}`,
  },
};
