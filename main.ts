console.log("ringmaster");
